// A conversation as a tree of turns: regenerating adds a sibling, editing adds a branch, nothing is ever lost.
// Plain values only, so that a tree can be stored as JSON; knows no page and no API.

const ROOT = "root";

export const newTree = () => ({ count: 0, nodes: {}, children: {}, chosen: {} });

const under = (parent) => parent ?? ROOT;

/** Add a turn below `parent` (null for a first turn), make it the one in sight and return it. */
export function add(tree, parent, turn) {
  const id = `t${(tree.count += 1)}`;
  const node = { ...turn, id, parent: parent ?? null };
  tree.nodes[id] = node;
  (tree.children[under(parent)] ??= []).push(id);
  tree.chosen[under(parent)] = id;
  return node;
}

/** Return the turns in sight, first to last. */
export function path(tree) {
  const found = [];
  for (let id = tree.chosen[ROOT]; id; id = tree.chosen[id]) found.push(tree.nodes[id]);
  return found;
}

/** Return the turns up to and including `id`, first to last, whether or not they are in sight. */
export function lineage(tree, id) {
  const found = [];
  for (let node = tree.nodes[id]; node; node = tree.nodes[node.parent]) found.unshift(node);
  return found;
}

/** Return the ids of the turns that stand in the same place, this one included, in the order of their making. */
export const siblings = (tree, id) => tree.children[under(tree.nodes[id].parent)];

/** Bring a turn into sight, with whatever was last in sight below it. */
export function choose(tree, id) {
  for (const node of lineage(tree, id)) tree.chosen[under(node.parent)] = node.id;
}

/** Bring the sibling `offset` places on into sight; stay at the ends. */
export function step(tree, id, offset) {
  const all = siblings(tree, id);
  const place = Math.min(Math.max(all.indexOf(id) + offset, 0), all.length - 1);
  choose(tree, all[place]);
  return all[place];
}

/** Return what an answer below `id` is asked with: turns that failed or are empty are left out. */
export function messages(tree, id) {
  const usable = lineage(tree, id).filter((node) => node.content && !node.fault);
  return usable.map(({ role, content }) => ({ role, content }));
}

/** Return the last turn in sight of a role, or undefined. */
export const last = (tree, role) => path(tree).findLast((node) => node.role === role);

/** Return whether any of the turns was answered without being logged. */
export const hasUnlogged = (tree) => Object.values(tree.nodes).some((node) => node.logged === false);
