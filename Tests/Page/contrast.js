// Every shown text whose contrast with what is behind it is below WCAG's AA. Colours are read back from a canvas, as
// the computed ones come in several notations.
const canvas = document.createElement("canvas");
canvas.width = canvas.height = 1;
const context = canvas.getContext("2d", { willReadFrequently: true });

function paint(...colours) {
  context.clearRect(0, 0, 1, 1);
  for (const colour of colours) {
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
  }
  return [...context.getImageData(0, 0, 1, 1).data];
}

function luminance([red, green, blue]) {
  const linear = [red, green, blue].map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

function behind(element) {
  const layers = [];
  for (let node = element; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    layers.unshift(colour);
    if (paint(colour)[3] === 255) break;
  }
  return layers;
}

function isExempt(element) {
  const exempt = ["[aria-hidden='true']", "[aria-disabled='true']", ".stub__number[data-empty]", ".unseen", ".skip",
    "option"];
  return element.closest(exempt.join(", "));
}

const faint = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility() || isExempt(element)) continue;
  const style = getComputedStyle(element);
  const layers = behind(element);
  const back = luminance(paint(...layers));
  const colour = element.closest("svg") ? style.fill : style.color;
  const front = luminance(paint(...layers, colour));
  const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  const size = parseFloat(style.fontSize);
  const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (ratio < (isLarge ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)}: ${walker.currentNode.data.trim().slice(0, 40)}`);
}

// What is painted on a canvas is no text in the document: an element names the pairs of colours that have to be told
// apart, as front/back/least, each a custom property `--seat-…`.
for (const element of document.querySelectorAll("[data-contrast]")) {
  const probe = element.appendChild(document.createElement("span"));
  const shown = (name) => {
    probe.style.color = `var(--seat-${name})`;
    return getComputedStyle(probe).color;
  };
  for (const pair of element.dataset.contrast.split(" ")) {
    const [front, back, least] = pair.split("/");
    const [a, b] = [front, back].map((name) => luminance(paint(shown("ground"), shown(name))));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < Number(least)) faint.push(`${ratio.toFixed(2)}: --seat-${front} on --seat-${back}`);
  }
  probe.remove();
}
return faint;
