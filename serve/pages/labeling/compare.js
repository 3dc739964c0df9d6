// Which words two texts share: a difference by words, in time and memory that are bounded however long the texts are.

const MOST_CELLS = 4_000_000; // of the table; longer texts are compared by lines

const words = (text) => text.match(/[\p{L}\p{N}'’]+\s*|[^\s\p{L}\p{N}]\s*|\s+/gu) ?? [];
const lines = (text) => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

/** Return both texts in pieces, each the same in both or not: [[{same, text}], [{same, text}]]. */
export function difference(before, after) {
  let [a, b] = [words(before), words(after)];
  if (a.length * b.length > MOST_CELLS) [a, b] = [lines(before), lines(after)];
  if (a.length * b.length > MOST_CELLS) return [[{ same: false, text: before }], [{ same: false, text: after }]];
  const [left, right] = [a, b].map((tokens) => tokens.map((token) => token.trim())); // white space makes no difference
  let head = 0;
  while (head < a.length && head < b.length && left[head] === right[head]) head += 1;
  let tail = 0;
  while (tail < Math.min(a.length, b.length) - head && left.at(-1 - tail) === right.at(-1 - tail)) tail += 1;
  const middle = common(left.slice(head, a.length - tail), right.slice(head, b.length - tail));
  const ends = (marks) => [...Array(head).fill(true), ...marks, ...Array(tail).fill(true)];
  return [pieces(a, ends(middle[0])), pieces(b, ends(middle[1]))];
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

function pieces(tokens, same) {
  const found = [];
  tokens.forEach((text, index) => {
    if (found.at(-1)?.same === same[index]) found.at(-1).text += text;
    else found.push({ same: same[index], text });
  });
  return found;
}
