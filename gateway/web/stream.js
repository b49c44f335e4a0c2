// The websocket: connects, connects again, pauses while the page is hidden, puts scenes together and takes them apart.

const firstWait = 400, longestWait = 10000; // ms between tries
const unauthorized = 3000, forbidden = 3003; // codes: without a good token, or without one for this, it is no use to come again
const restarted = 1012, restartWait = 3000; // code, and ms: the viewers of a gateway that restarts do not come back all at once
const silence = 5000; // ms: a status comes every 2 s, and over a slow link the parts of a scene, so the connection is dead
const wants = { adapt: true, part_bytes: 16384 }; // pictures that the link bears, in parts that are seen to come

/**
 * A scene, as it comes in one message or several: uint32 little-endian header length, JSON header, JPEG, depth data.
 */
export class Parts {
  #parts = []; #size = 0; #header = null; #length = 0;

  /** Adds a message; returns the scene when that was its last, else null. */
  add(buffer) {
    this.#parts.push(buffer);
    this.#size += buffer.byteLength;
    if (!this.#header && !this.#readHeader()) return null;
    const { picture_bytes: picture, depth } = this.#header;
    const at = 4 + this.#length, end = at + picture, whole = end + (depth?.bytes ?? 0);
    if (this.#size < whole) return null;
    const bytes = this.#join(), scene = {
      header: this.#header,
      picture: picture ? new Blob([bytes.subarray(at, end)], { type: "image/jpeg" }) : null,
      depth: depth ? bytes.slice(end, whole).buffer : null,
    };
    this.clear();
    return scene;
  }

  /** Forgets what has come of a scene. */
  clear() {
    this.#parts = [];
    this.#size = this.#length = 0;
    this.#header = null;
  }

  #readHeader() {
    this.#length = new DataView(this.#parts[0]).getUint32(0, true);
    if (this.#size < 4 + this.#length) return false;
    const bytes = this.#join();
    this.#header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + this.#length)));
    this.#parts = [bytes];
    return true;
  }

  #join() {
    if (this.#parts.length === 1) return new Uint8Array(this.#parts[0].buffer ?? this.#parts[0]);
    const whole = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      const bytes = new Uint8Array(part.buffer ?? part);
      whole.set(bytes, at);
      at += bytes.byteLength;
    }
    return whole;
  }
}

/** Stream keeps a connection to the gateway for the sources that are watched. */
export class Stream {
  #socket = null; #timer = 0; #watchdog = 0; #wait = firstWait; #sources = []; #parts = new Parts();
  /**
   * @param {{scene: Function, status: Function, connection: Function, denied: Function}} told denied gets the gateway's word for why, and no
   * other try follows by itself
   * @param {() => string} token the one to send first; none: an empty text
   */
  constructor(told, token) { Object.assign(this, { told, token }); }

  /** An empty list is every source. */
  watch(sources) {
    this.#sources = sources;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#ask();
  }

  #ask(first = false) {
    const token = first ? this.token() : "";
    this.#socket.send(JSON.stringify({ ...(token && { token }), sources: this.#sources, ...wants }));
  }

  start() {
    if (!this.#socket && !this.#timer) this.#connect(false);
  }

  pause(state = "paused") {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#drop(1000);
    this.told.connection(state);
  }

  #connect(again) {
    this.#timer = 0;
    this.told.connection(again ? "reconnecting" : "connecting");
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#parts.clear();
    socket.binaryType = "arraybuffer";
    this.#alive();
    socket.onopen = () => {
      this.#alive();
      this.#ask(true);
    };
    socket.onmessage = ({ data }) => {
      this.#alive();
      this.#wait = firstWait;
      if (typeof data !== "string") {
        const scene = this.#parts.add(data);
        if (scene) this.told.scene(scene);
        return;
      }
      const status = JSON.parse(data);
      if (status.type === "status") {
        this.told.connection("open");
        this.told.status(status);
      }
    };
    socket.onclose = ({ code, reason }) => {
      if (this.#socket !== socket) return;
      if (code === unauthorized || code === forbidden) return this.told.denied(reason.split(":")[0] || (code === forbidden ? "not_allowed" : "token_wrong"));
      this.#retry(code === 1008 ? reason : "", code === restarted ? restartWait * Math.random() : 0);
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
