// Who asks: the token that a gateway wants is asked for here, kept for this tab alone, and sent with every question.

const key = "spatial-flow-token";
const patience = 2000, longPatience = 10000; // ms; who tries tokens is answered slowly
const $ = (id) => document.getElementById(id);

/** The word for programs in an answer that refuses; none when it has none, as a proxy's. */
async function reasonOf(answer) {
  try {
    return (await answer.clone().json()).reason ?? "";
  } catch {
    return "";
  }
}

/** For how long an answer asks not to be asked again, in ms; 0: it does not. */
export const pause = (answer) => (answer.status === 429 ? 1000 * (Number(answer.headers.get("Retry-After")) || 1) : 0);

/**
 * Access knows the token, and what it may. Its events: "granted", ask what is to be asked, anew; "denied", ask nothing more, and show nothing
 * of what was seen.
 */
class Access extends EventTarget {
  #token = ""; #caller = null; #busy = false; #asked = new AbortController(); #first;
  denied = false; // until a token is given
  ready = new Promise((done) => { this.#first = done; }); // something may be asked

  /** @param {string} needs what the page is for: view or status */
  constructor(needs) {
    super();
    this.needs = needs;
    try {
      this.#token = sessionStorage.getItem(key) ?? "";
    } catch {
      // where the browser keeps nothing, the token goes with the page
    }
    $("access-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#give($("token").value.trim());
    });
    $("access-close").addEventListener("click", () => $("access").close());
    $("access").addEventListener("close", () => { $("token").value = ""; });
    $("sign").addEventListener("click", () => (this.#token ? this.#leave() : this.#open("")));
  }

  get token() { return this.#token; }

  /** Whether the caller may view, predict, status or manage; while it is not known who that is, whatever the gateway lets it. */
  may(what) { return this.#caller?.may.includes(what) ?? true; }

  /** Asks who the caller is. A gateway that does not answer is asked by whoever asks next. */
  async start() {
    try {
      const answer = await this.fetch("api/v1/caller", { signal: AbortSignal.timeout(patience) });
      if (answer.status === 401) return;
      if (answer.ok) this.#know(await answer.json());
    } catch {
      // as when it is not known
    }
    if (!this.may(this.needs)) return this.deny("not_allowed");
    this.#grant();
  }

  /** fetch with the token; an answer that wants another one denies the page, and so does one that the page can't be without. */
  async fetch(path, options = {}, whole = false) {
    const token = this.#token, headers = new Headers(options.headers);
    if (token) headers.set("Authorization", `Bearer ${token}`);
    const signal = AbortSignal.any([this.#asked.signal, ...(options.signal ? [options.signal] : [])]);
    const answer = await fetch(path, { ...options, headers, signal });
    if (answer.ok || token !== this.#token) return answer;
    const reason = await reasonOf(answer);
    if (answer.status === 401) this.deny(reason || "token_missing");
    else if (whole && reason === "not_allowed") this.deny(reason);
    return answer;
  }

  /** Asks for a token; reason is the gateway's word for what is wrong. */
  deny(reason) {
    if (reason.startsWith("token_")) this.#keep("");
    if (this.denied) return;
    this.denied = true;
    this.#sign();
    this.dispatchEvent(new Event("denied"));
    this.#open(reason);
  }

  #grant() {
    this.denied = false;
    this.#sign();
    if ($("access").open) $("access").close();
    this.#first();
    this.dispatchEvent(new Event("granted"));
  }

  /** Tries a token, and keeps one that the gateway knows. */
  async #give(token) {
    if (this.#busy) return;
    this.#busy = true;
    this.#say("Asking the gateway…");
    const wrong = await this.#try(token);
    this.#busy = false;
    this.#say(wrong);
    if (!wrong) this.#grant();
    else $("token").select();
  }

  /** What is wrong with a token; nothing: it is kept. */
  async #try(token) {
    if (!/^[!-~]{1,4096}$/.test(token)) return this.#words("token_wrong");
    try {
      const answer = await fetch("api/v1/caller", { headers: { Authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(longPatience) });
      if (answer.status === 401) return this.#words((await reasonOf(answer)) || "token_wrong");
      if (!answer.ok) return `The gateway answers ${answer.status}${answer.status === 429 ? ": too many tries, wait a moment" : ""}.`;
      const caller = await answer.json();
      this.#keep(token);
      this.#know(caller);
    } catch {
      return "The gateway does not answer.";
    }
    return this.may(this.needs) ? "" : this.#words("not_allowed");
  }

  /** Forgets the token, and goes on as who has none. */
  async #leave() {
    this.#keep("");
    this.denied = true;
    this.dispatchEvent(new Event("denied"));
    await this.start();
    if (this.denied) this.#open("token_missing");
  }

  /** Keeps a token; what was asked with another one is not answered any more. */
  #keep(token) {
    this.#token = token;
    this.#caller = null;
    this.#asked.abort();
    this.#asked = new AbortController();
    try {
      if (token) sessionStorage.setItem(key, token);
      else sessionStorage.removeItem(key);
    } catch {
      // see above
    }
    this.#sign();
  }

  #know(caller) {
    this.#caller = caller;
    this.#sign();
  }

  /** Offers what the caller may, and the button that forgets the token, or asks for one where that may let the caller do more. */
  #sign() {
    for (const node of document.querySelectorAll("[data-may]")) node.hidden = !this.may(node.dataset.may);
    const button = $("sign"), more = this.denied || this.#caller?.tokens;
    button.hidden = !this.#token && !more;
    button.textContent = this.#token ? `Sign out${this.#caller ? ` (${this.#caller.name})` : ""}` : "Sign in";
  }

  #open(reason) {
    $("token").value = "";
    this.#say(reason ? this.#words(reason) : "");
    if (!$("access").open) $("access").showModal();
  }

  #say(text) { $("access-says").textContent = text; }

  #words(reason) {
    switch (this.#token || reason !== "not_allowed" ? reason : "token_missing") {
      case "token_missing": return "This gateway asks for a token.";
      case "token_expired": return "This token has expired.";
      case "not_allowed": return `This token may not see ${this.needs === "view" ? "sources" : "the status"}.`;
      default: return "The gateway does not know this token, or not any more.";
    }
  }
}

export const access = new Access(document.body.dataset.needs);
