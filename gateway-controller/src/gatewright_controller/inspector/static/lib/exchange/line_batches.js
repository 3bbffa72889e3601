/**
 * The lines of a stream, as many at once as have come; without those that are empty, which say that it still lives.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {() => void} [heard]  called as often as something comes
 * @returns {AsyncGenerator<string[]>}
 */
export async function* lineBatches(stream, heard = () => {}) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  /** @type {string[]} */
  let begun = []; // pieces of a line that goes on
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const [first, ...rest] = decoder.decode(value, { stream: true }).split("\n");
    begun.push(first);
    if (!rest.length) continue;
    const lines = [begun.join(""), ...rest];
    begun = [lines.pop() ?? ""];
    yield lines.filter((line) => line !== "");
  }
}
