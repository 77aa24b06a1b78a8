// Canvases and the slider between two of them.

// Draws a square of RGBA bytes.
export function draw(canvas, bytes, side) {
  canvas.width = side;
  canvas.height = side;
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(bytes), side, side), 0, 0);
}

// The slider says how much of the second picture is seen; it works by keyboard as every range does.
export function compare(slider, frame) {
  const show = () => frame.style.setProperty("--at", `${100 - slider.value}%`);
  slider.addEventListener("input", show);
  show();
}

// A file that is dropped on a label or chosen in its input.
export function onFile(label, input, take) {
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    // The same file again is a change, too.
    input.value = "";
  });
  for (const kind of ["dragenter", "dragover"]) {
    label.addEventListener(kind, (event) => { event.preventDefault(); label.classList.add("over"); });
  }
  label.addEventListener("dragleave", () => label.classList.remove("over"));
  label.addEventListener("drop", (event) => {
    event.preventDefault();
    label.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}
