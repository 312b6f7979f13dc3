/** Which arm has which colour. Law: a name has one colour in all views; the first eight differ for the colour-blind.

Eight hues after Okabe and Ito, and two textures for the arms after them; names stand beside the colours everywhere.
*/

const HUES = 8;
const TEXTURES = 3;
const indices = new Map();
const patterns = new Map();
const root = getComputedStyle(document.documentElement);

/** Gives names a colour in the order in which they are first seen. */
export function learnArms(rows) {
  for (const row of [...rows].sort((a, b) => (a.bandit_id < b.bandit_id ? -1 : 1))) row.arms.forEach(indexOf);
}

function indexOf(arm) {
  if (!indices.has(arm)) indices.set(arm, indices.size % (HUES * TEXTURES));
  return indices.get(arm);
}

export const armClass = (arm) => `hue-${indexOf(arm) % HUES} texture-${Math.floor(indexOf(arm) / HUES)}`;
export const colour = (variable) => root.getPropertyValue(variable).trim();
export const armColour = (arm) => colour(`--arm-${indexOf(arm) % HUES}`);
export const armDash = (arm) => [[], [7, 3], [2, 3]][Math.floor(indexOf(arm) / HUES)];

/** What a canvas fills an arm's area with: its colour, with stripes or dots for the later ones. */
export function armFill(context, arm) {
  const plain = armColour(arm);
  const texture = Math.floor(indexOf(arm) / HUES);
  if (texture === 0) return plain;
  const key = `${plain} ${texture}`;
  if (!patterns.has(key)) patterns.set(key, patternOf(plain, texture));
  return context.createPattern(patterns.get(key), "repeat");
}

function patternOf(plain, texture) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 8;
  const context = canvas.getContext("2d");
  context.fillStyle = plain;
  context.fillRect(0, 0, 8, 8);
  context.fillStyle = context.strokeStyle = colour("--card");
  if (texture === 1) {
    context.lineWidth = 1.5;
    for (const shift of [-8, 0, 8]) {
      context.moveTo(shift, 8);
      context.lineTo(shift + 8, 0);
    }
    context.stroke();
  } else {
    context.fillRect(1, 1, 2, 2);
    context.fillRect(5, 5, 2, 2);
  }
  return canvas;
}
