"""Search for attacks that nobody wrote: compositions of the known ones. One idea a file.

- `composition`: several attacks, one on the other's result.
- `scoring`: what a composition is worth, asked once and counted.
- `greedy`, `evolutionary`: which compositions are tried next.
- `search`: the whole search, from the attacks alone to what was found.
- `findings`: what was found, as values that JSON keeps.
"""
