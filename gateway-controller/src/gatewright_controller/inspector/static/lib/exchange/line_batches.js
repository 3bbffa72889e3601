/**
 * The lines of a stream, in batches as they arrive, without empty lines: these are keep-alives.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {() => void} [onData]  called for each read
 * @returns {AsyncGenerator<string[]>}
 */
export async function* lineBatches(stream, onData = () => {}) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  /** @type {string[]} */
  let begun = []; // pieces of a line that goes on
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onData();
    const [first, ...rest] = decoder.decode(value, { stream: true }).split("\n");
    begun.push(first);
    if (!rest.length) continue;
    const lines = [begun.join(""), ...rest];
    begun = [lines.pop() ?? ""];
    yield lines.filter((line) => line !== "");
  }
}
