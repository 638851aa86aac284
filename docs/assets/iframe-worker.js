// The search runs in a worker, and browsers start none for pages from file://. This is one in a hidden frame.
// The theme looks for the name IFrameWorker.
if (location.protocol === "file:") {
  class IFrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.worker = this;
      this.frame.srcdoc = `<body><script>
        const worker = frameElement.worker;
        self.postMessage = data => worker.dispatchEvent(new MessageEvent("message", { data }));
      </script><script src="${encodeURI(String(url))}"></script></body>`;
      this.loaded = new Promise(resolve => this.frame.addEventListener("load", resolve, { once: true }));
      document.body.append(this.frame);
    }

    async postMessage(data) {
      await this.loaded;
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }

    terminate() {
      this.frame.remove();
    }
  }
  window.IFrameWorker = window.Worker = IFrameWorker;
}
