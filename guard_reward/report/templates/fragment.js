"use strict";

// The address's fragment holds what the rollouts table shows: "#severity=Unsafe&sort=-reward&rollout=hybrid/1f3a".
// A fragment without "=" is the place of a section and says nothing about the table.

const fragment = {
  read() {
    const text = location.hash.slice(1);
    return text.includes("=") ? Object.fromEntries(new URLSearchParams(text)) : {};
  },
  /** Whether the address asks for some rollouts, and not for one. */
  isFilter() {
    const { rollout, ...state } = this.read();
    return !rollout && Object.keys(state).length > 0;
  },
  /** "" is a state too; a section's name is none. */
  isState: () => location.hash.length < 2 || location.hash.includes("="),
  /** The state as a fragment; what is empty is left out. */
  of(state) {
    const given = Object.entries(state).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    return `#${new URLSearchParams(given).toString().replaceAll("%2F", "/")}`;
  },
  /** Show the state in the address, without a step for the back button. */
  replace(state) {
    history.replaceState(null, "", fragment.of(state));
  },
};
