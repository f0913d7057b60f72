"use strict";
// What the scripts of every page use.

const find = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text and never markup. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The compressed data in an element of the page. */
async function unzipped(id) {
  const packed = Uint8Array.from(atob(find(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** Say that the page cannot be shown, and why. */
function giveUp(error) {
  const problem = find("problem");
  problem.hidden = false;
  problem.textContent = `This page cannot be shown (${error.message}); it needs Chrome 105, Firefox 113, Safari 16.4 or later.`;
  console.error(error);
}
