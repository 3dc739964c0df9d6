// Which words two texts share: a difference by words, in time and memory that are bounded however long the texts are.

const MOST_CELLS = 4_000_000; // of the table; longer texts are compared by lines

/** Return [same, text, ...] pieces of both texts: [[{same, text}], [{same, text}]]. */
export function difference(before, after) {
  const words = (text) => text.match(/\s+|[\p{L}\p{N}'’]+|[^\s\p{L}\p{N}]/gu) ?? [];
  const lines = (text) => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
  let [a, b] = [words(before), words(after)];
  if (a.length * b.length > MOST_CELLS) [a, b] = [lines(before), lines(after)];
  if (a.length * b.length > MOST_CELLS) return [[{ same: false, text: before }], [{ same: false, text: after }]];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < Math.min(a.length, b.length) - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const [left, right] = common(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  const marks = (middle, all) => [...Array(head).fill(true), ...middle, ...Array(tail).fill(true)].slice(0, all.length);
  return [pieces(a, marks(left, a)), pieces(b, marks(right, b))];
}

/** Return, for each word of both lists, whether it belongs to a longest common subsequence. */
function common(a, b) {
  const width = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      longest[i * width + j] =
        a[i] === b[j]
          ? longest[(i + 1) * width + j + 1] + 1
          : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
  const [left, right] = [Array(a.length).fill(false), Array(b.length).fill(false)];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) left[i++] = right[j++] = true;
    else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return [left, right];
}

function pieces(words, same) {
  const found = [];
  words.forEach((text, index) => {
    const last = found.at(-1);
    const blank = last && !text.trim(); // white space goes with what stands before it
    if (last && (last.same === same[index] || blank)) last.text += text;
    else found.push({ same: same[index], text });
  });
  return found;
}
