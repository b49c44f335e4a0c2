// The websocket: connects, connects again, pauses while the page is hidden, and takes messages apart.

const firstWait = 400, longestWait = 10000; // ms between tries
const restarted = 1012, restartWait = 3000; // code, and ms: the viewers of a gateway that restarts do not come back all at once
const silence = 5000; // ms: a status comes every second, so the connection is dead

/**
 * One scene message: uint32 little-endian header length, JSON header, JPEG, depth data.
 * @param {ArrayBuffer} buffer
 */
export function parseScene(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const at = 4 + length, end = at + header.picture_bytes;
  return {
    header,
    picture: header.picture_bytes ? new Blob([new Uint8Array(buffer, at, header.picture_bytes)], { type: "image/jpeg" }) : null,
    depth: header.depth ? buffer.slice(end, end + header.depth.bytes) : null,
  };
}

/** Stream keeps a connection to the gateway for the sources that are watched. */
export class Stream {
  #socket = null; #timer = 0; #watchdog = 0; #wait = firstWait; #sources = [];
  /** @param {{scene: Function, status: Function, connection: Function}} told */
  constructor(told) { this.told = told; }

  /** An empty list is every source. */
  watch(sources) {
    this.#sources = sources;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ sources }));
  }

  start() {
    if (!this.#socket && !this.#timer) this.#connect(false);
  }

  pause() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#drop(1000);
    this.told.connection("paused");
  }

  #connect(again) {
    this.#timer = 0;
    this.told.connection(again ? "reconnecting" : "connecting");
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    this.#alive();
    socket.onopen = () => {
      this.#alive();
      socket.send(JSON.stringify({ sources: this.#sources }));
    };
    socket.onmessage = ({ data }) => {
      this.#alive();
      this.#wait = firstWait;
      if (typeof data !== "string") return this.told.scene(parseScene(data));
      const status = JSON.parse(data);
      if (status.type === "status") {
        this.told.connection("open");
        this.told.status(status);
      }
    };
    socket.onclose = ({ code, reason }) => {
      if (this.#socket === socket) this.#retry(code === 1008 ? reason : "", code === restarted ? restartWait * Math.random() : 0);
    };
  }

  #alive() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#retry(""), silence);
  }

  #retry(refusal, within = 0) {
    this.#drop(4000);
    this.told.connection(refusal ? "refused" : "reconnecting", refusal);
    const wait = within || (refusal ? longestWait : this.#wait) * (0.5 + Math.random() / 2);
    this.#wait = Math.min(2 * this.#wait, longestWait);
    this.#timer = setTimeout(() => this.#connect(true), wait);
  }

  #drop(code) {
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code);
  }
}
