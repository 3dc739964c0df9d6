// Which words two texts share: a patience difference. Words that occur once in both texts are anchors; between
// anchors a small table decides, and what is too large for it counts as different: quick however long the texts are.

const MOST_CELLS = 40_000; // of a table between two anchors

const words = (text) => text.match(/[\p{L}\p{N}'’]+\s*|[^\s\p{L}\p{N}]\s*|\s+/gu) ?? [];

/** Return both texts in pieces, each the same in both or not: [[{same, text}], [{same, text}]]. */
export function difference(before, after) {
  const texts = [words(before), words(after)];
  const [a, b] = texts.map((tokens) => tokens.map((token) => token.trim())); // white space makes no difference
  const same = texts.map((tokens) => Array(tokens.length).fill(false));
  const mark = (i, j) => (same[0][i] = same[1][j] = true);
  align(a, b, [0, a.length, 0, b.length], mark);
  return texts.map((tokens, side) => pieces(tokens, same[side]));
}

/** Mark what the words i0..i1 of `a` have in common with j0..j1 of `b`. */
function align(a, b, [i0, i1, j0, j1], mark) {
  while (i0 < i1 && j0 < j1 && a[i0] === b[j0]) mark(i0++, j0++);
  while (i0 < i1 && j0 < j1 && a[i1 - 1] === b[j1 - 1]) mark(--i1, --j1);
  if (i0 === i1 || j0 === j1) return;
  if ((i1 - i0) * (j1 - j0) <= MOST_CELLS) return byTable(a, b, [i0, i1, j0, j1], mark);
  const found = anchors(a, b, [i0, i1, j0, j1]);
  if (!found.length) return;
  for (const [i, j] of [...found, [i1, j1]]) {
    align(a, b, [i0, i, j0, j], mark);
    if (i < i1) mark(i, j);
    [i0, j0] = [i + 1, j + 1];
  }
}

/** Return [i, j] of the words that occur once on both sides, as many as stand in the same order on both. */
function anchors(a, b, [i0, i1, j0, j1]) {
  const once = (list, from, to) => {
    const at = new Map();
    for (let index = from; index < to; index += 1) at.set(list[index], at.has(list[index]) ? -1 : index);
    return at;
  };
  const there = once(b, j0, j1);
  const ends = []; // ends[n]: the pair that ends the best chain of n + 1 pairs; each pair knows the one before it
  for (const [word, i] of once(a, i0, i1)) {
    const j = there.get(word) ?? -1;
    if (i < 0 || j < 0) continue;
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle].j < j) low = middle + 1;
      else high = middle;
    }
    ends[low] = { i, j, before: ends[low - 1] };
  }
  const chain = [];
  for (let pair = ends.at(-1); pair; pair = pair.before) chain.unshift([pair.i, pair.j]);
  return chain;
}

/** Mark a longest common subsequence. */
function byTable(a, b, [i0, i1, j0, j1], mark) {
  const width = j1 - j0 + 1;
  const longest = new Uint16Array((i1 - i0 + 1) * width);
  const at = (i, j) => (i - i0) * width + j - j0;
  for (let i = i1 - 1; i >= i0; i -= 1)
    for (let j = j1 - 1; j >= j0; j -= 1)
      longest[at(i, j)] =
        a[i] === b[j] ? longest[at(i + 1, j + 1)] + 1 : Math.max(longest[at(i + 1, j)], longest[at(i, j + 1)]);
  for (let i = i0, j = j0; i < i1 && j < j1;) {
    if (a[i] === b[j]) mark(i++, j++);
    else if (longest[at(i + 1, j)] >= longest[at(i, j + 1)]) i += 1;
    else j += 1;
  }
}

function pieces(tokens, same) {
  const found = [];
  tokens.forEach((text, index) => {
    if (found.at(-1)?.same === same[index]) found.at(-1).text += text;
    else found.push({ same: same[index], text });
  });
  return found;
}
