// A request as a curl command, and a curl command as a request.

import { quoted, shellWords } from "./shell_words.js";

/**
 * A request that is composed. path: with the query. host: "" for the listener's own. headers: without host.
 * @typedef {{method: string, path: string, host: string, headers: [string, string][], body: string}} Composed
 */

/** Options with an argument, by the part of the request that it sets. */
const TAKES = /** @type {Record<string, string>} */ ({
  "-X": "method", "--request": "method", "-H": "header", "--header": "header", "--url": "url",
  "-d": "data", "--data": "data", "--data-ascii": "data", "--data-raw": "raw", "--data-binary": "raw",
  "--data-urlencode": "encoded", "--json": "json", "-u": "user", "--user": "user", "-b": "cookie", "--cookie": "cookie",
  "-A": "agent", "--user-agent": "agent", "-e": "referer", "--referer": "referer", "-F": "form", "--form": "form",
});
const LEFT_OUT = new Set([
  "-o", "--output", "-w", "--write-out", "-m", "--max-time", "--connect-timeout", "--resolve", "--cacert", "-E", "--cert",
  "--key", "--retry", "-x", "--proxy", "-c", "--cookie-jar", "-T", "--upload-file", "--unix-socket", "--connect-to", "-K",
  "--config", "-D", "--dump-header", "--limit-rate", "--interface", "-r", "--range", "-Y", "-y", "-z",
]);
const SILENT = new Set(["-o", "--output", "-w", "--write-out", "-m", "--max-time", "--connect-timeout", "--cacert"]);
/** Headers of the connection, of a browser's cache, or made by the gateway. */
const OWN = /^(connection|content-length|expect|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|accept-encoding)$/i;

/**
 * Reads a curl command of a person or a browser. notes: the parts that it leaves out.
 * @param {string} command
 * @returns {{request: Composed, notes: string[]}}
 */
export function parseCurl(command) {
  const [program, ...words] = shellWords(command.trim().replace(/^\$\s+/, ""));
  if (!/(^|\/)curl(\.exe)?$/.test(program ?? "")) throw new Error("expected a command that begins with curl");
  const reader = new CommandReader();
  for (let at = 0; at < words.length; at += 1) at += reader.readWord(words[at], words[at + 1]);
  return reader.result();
}

class CommandReader {
  constructor() {
    /** @type {string[]} */
    this.notes = [];
    /** @type {[string, string][]} */
    this.headers = [];
    /** @type {string[]} */
    this.data = [];
    this.url = "";
    this.method = "";
    this.inQuery = false;
    /** @type {Set<string>} names of headers that curl does not send */
    this.unwanted = new Set();
  }

  /**
   * @param {string} word
   * @param {string | undefined} next
   * @returns {number} how many of the next words belong to it
   */
  readWord(word, next) {
    if (!word.startsWith("-") || word === "-") {
      this.apply("url", word);
      return 0;
    }
    if (word.startsWith("--")) return this.option(word, next);
    for (let at = 1; at < word.length; at += 1) {
      const option = `-${word[at]}`;
      const glued = word.slice(at + 1);
      if (option in TAKES || LEFT_OUT.has(option)) return this.option(option, glued || next) * (glued ? 0 : 1);
      this.flag(option);
    }
    return 0;
  }

  /** @param {string} word @param {string | undefined} next @returns {number} */
  option(word, next) {
    const kind = TAKES[word];
    if (kind === undefined && !LEFT_OUT.has(word)) {
      this.flag(word);
      return 0;
    }
    if (kind) this.apply(kind, next ?? "");
    else if (!SILENT.has(word)) this.notes.push(`${word} is left out`);
    return 1;
  }

  /** @param {string} flag */
  flag(flag) {
    if (flag === "-I" || flag === "--head") this.method ||= "HEAD";
    if (flag === "-G" || flag === "--get") this.inQuery = true;
  }

  /** @param {string} kind @param {string} text */
  apply(kind, text) {
    if (kind === "url") this.url ||= text;
    else if (kind === "method") this.method = text;
    else if (kind === "header") this.header(text);
    else if (kind === "user") this.headers.push(["authorization", `Basic ${btoa(bytesOf(text))}`]);
    else if (kind === "agent") this.headers.push(["user-agent", text]);
    else if (kind === "referer") this.headers.push(["referer", text]);
    else if (kind === "cookie") this.cookie(text);
    else if (kind === "form") this.notes.push("-F is left out: multipart forms cannot be composed here");
    else this.content(kind, text);
  }

  /** @param {string} text */
  header(text) {
    const at = text.search(/[:;]/);
    if (at < 1) return;
    const [name, value] = [text.slice(0, at).trim(), text.slice(at + 1).trim()];
    if (OWN.test(name)) this.notes.push(`${name.toLowerCase()} is left out`);
    else if (value || text[at] === ";") this.headers.push([name, value]);
    else this.unwanted.add(name.toLowerCase());
  }

  /** @param {string} text */
  cookie(text) {
    if (text.includes("=")) this.headers.push(["cookie", text]);
    else this.notes.push(`the cookies of the file ${text} are left out`);
  }

  /** @param {string} kind @param {string} text */
  content(kind, text) {
    const file = kind === "encoded" ? /^[^=]*@/.test(text) : kind !== "raw" && text.startsWith("@");
    if (file) {
      this.notes.push(`the content of the file ${text.replace(/^[^@]*@/, "")} is left out`);
      return;
    }
    if (kind === "json") {
      this.default("content-type", "application/json");
      this.default("accept", "application/json");
    }
    this.data.push(kind === "encoded" ? urlEncoded(text) : text);
  }

  /** @param {string} name @param {string} value */
  default(name, value) {
    const isSet = this.unwanted.has(name) || this.headers.some(([own]) => own.toLowerCase() === name);
    if (!isSet) this.headers.push([name, value]);
  }

  result() {
    if (!this.url) throw new Error("expected a URL in the command, got none");
    const { host, path } = target(this.url);
    const query = this.inQuery && this.data.length ? (path.includes("?") ? "&" : "?") + this.data.join("&") : "";
    const body = this.inQuery ? "" : this.data.join(this.data.length > 1 ? "&" : "");
    if (body) this.default("content-type", "application/x-www-form-urlencoded");
    const ownHost = this.headers.find(([name]) => name.toLowerCase() === "host");
    const headers = this.headers.filter(([name]) => name.toLowerCase() !== "host");
    const method = this.method || (body ? "POST" : "GET");
    return { request: { method, path: path + query, host: ownHost?.[1] ?? host, headers, body }, notes: this.notes };
  }
}

/** @param {string} url @returns {{host: string, path: string}} host: "" for this machine's own addresses */
function target(url) {
  const [, scheme, authority, rest] = /** @type {RegExpExecArray} */ (/^(?:([a-z][a-z0-9+.-]*):\/\/)?([^/?#]*)([^#]*)/i.exec(url));
  if (scheme && !/^https?$/i.test(scheme)) throw new Error(`expected a URL of http or https, got ${scheme}:`);
  const host = authority.replace(/^.*@/, "");
  const isLocal = /^(127\.0\.0\.1|localhost|0\.0\.0\.0|\[::1\])(:\d+)?$/.test(host);
  const path = rest.startsWith("/") ? rest : `/${rest}`;
  return { host: isLocal ? "" : host, path: path.replace(/[^!-~]/g, (character) => encodeURIComponent(character)) };
}

/** @param {string} text `name=value`, `=value` or a value */
function urlEncoded(text) {
  const at = text.indexOf("=");
  if (at < 0) return encodeURIComponent(text);
  return (at ? `${text.slice(0, at)}=` : "") + encodeURIComponent(text.slice(at + 1));
}

/** @param {string} text @returns {string} its UTF-8, a character for each byte */
function bytesOf(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

/**
 * @param {Composed} request
 * @param {string} origin of the listener, "http://127.0.0.1:8080"
 * @returns {string}
 */
export function toCurl(request, origin) {
  const words = ["curl", "-i"];
  if (request.method === "HEAD") words.push("-I");
  else if (request.method !== (request.body ? "POST" : "GET")) words.push("-X", quoted(request.method));
  words.push(quoted(origin + request.path));
  if (request.host) words.push("-H", quoted(`host: ${request.host}`));
  for (const [name, value] of request.headers) words.push("-H", quoted(value ? `${name}: ${value}` : `${name};`));
  if (request.body) {
    if (!request.headers.some(([name]) => name.toLowerCase() === "content-type")) words.push("-H", "content-type:");
    words.push("--data-raw", quoted(request.body));
  }
  return words.join(" ");
}
