// Sets the formulas that arithmatex marks. Without a network or a script their TeX source stays readable.
document$.subscribe(({ body }) => {
  if (typeof renderMathInElement !== "function") return;
  body.querySelectorAll(".arithmatex").forEach((formula) =>
    renderMathInElement(formula, {
      delimiters: [
        { left: "\\(", right: "\\)", display: false },
        { left: "\\[", right: "\\]", display: true },
      ],
    }),
  );
});
