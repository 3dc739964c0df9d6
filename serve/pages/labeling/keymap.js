// Which key does what, and what a person made of it. Keys have names such as `j`, `Shift+3`, `Ctrl+Enter`, `?`.

const STORE = "whetstone-keys";
const FLAG_KEYS = [..."qwertyuiopa"];

/** [action, default keys, words]: the whole map; `digit-n` rates in step 1 and ranks in step 2. */
export const ACTIONS = [
  ["next", ["j", "ArrowDown"], "next answer"],
  ["previous", ["k", "ArrowUp"], "previous answer"],
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => [
    `digit-${n}`,
    [String(n)],
    n <= 7 ? `rate ${n}, or rank ${n}` : `rank ${n}`,
  ]),
  ["tie", ["="], "tie with the answer above"],
  ["confirm", ["c"], "take the proposed order"],
  ["clear", ["Backspace"], "clear the rank"],
  ["all-bad", ["0"], "all are bad"],
  ["all-good", ["f"], "all are equally good"],
  ...FLAG_KEYS.map((key, n) => [`flag-${n + 1}`, [key], `flag ${n + 1}`]),
  ["difference", ["d"], "difference with the previous answer"],
  ["expand", ["x"], "fold the answer, or show all of it"],
  ["view", ["v"], "stacked or grid"],
  ["raw", ["l"], "rendered or literal text"],
  ["prompt", ["b"], "fold the prompt"],
  ["mark", ["h"], "mark offending words"],
  ["note", ["n"], "note"],
  ["write", ["m"], "none is right: write it"],
  ["guidelines", ["g"], "guidelines"],
  ["report", ["!"], "report"],
  ["skip", ["s"], "skip, then a digit for the reason"],
  ["undo", ["z"], "undo"],
  ["save", ["Ctrl+s"], "save the draft now"],
  ["submit", ["Ctrl+Enter"], "submit and go on"],
  ["legend", ["?"], "show or hide the keys"],
];
export const WORDS = Object.fromEntries(ACTIONS.map(([action, , words]) => [action, words]));

/** Return the name of the key that was pressed; the same one on every layout that has the letter or digit. */
export function nameOf(event) {
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code)?.[1];
  const letter = /^Key([A-Z])$/.exec(event.code)?.[1];
  const foreign = letter && /^[^\x00-\x7f]$/.test(event.key);
  let key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (digit && !event.shiftKey) key = digit;
  else if (foreign) key = letter.toLowerCase();
  const shift = event.shiftKey && (key.length > 1 || /[a-z]/.test(key));
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shift ? "Shift+" : ""}${key}`;
}

const own = () => JSON.parse(localStorage.getItem(STORE) ?? "{}");

/** Return action -> keys. */
export const bindings = () => ({ ...Object.fromEntries(ACTIONS), ...own() });

/** Return the action of a key, or undefined. */
export function actionOf(name) {
  return Object.entries(bindings()).find(([, keys]) => keys.includes(name))?.[0];
}

/** Return the key that is shown for an action. */
export const shown = (action) =>
  bindings()[action][0]?.replace("Enter", "⏎").replace("Backspace", "⌫").replace("Arrow", "") ?? "–";

/** Bind a key to an action, in place of what both had; return why that is not possible, or an empty string. */
export function bind(action, name) {
  if (action === "submit" && !name.startsWith("Ctrl+")) return "Submit takes a key with Ctrl: one slip must not send.";
  if (
    ["Tab", "Escape", "Enter", "Control", "Shift", "Alt", "Meta", " "].includes(name.split("+").at(-1)) &&
    action !== "submit"
  )
    return "This key is needed for moving about.";
  const changed = own();
  const loser = actionOf(name);
  if (loser === "submit" && action !== "submit") return "This key submits.";
  if (loser && loser !== action) changed[loser] = bindings()[loser].filter((key) => key !== name);
  changed[action] = [name];
  localStorage.setItem(STORE, JSON.stringify(changed));
  return "";
}

/** Go back to the map that everybody starts with. */
export const reset = () => localStorage.removeItem(STORE);
