// Runs inside the page: visible texts without Chinese that are not names. What is English by right is marked `lang="en"`.
export function leftEnglish() {
  const ALLOWED = new Set(
    "Tarn SQL API PostgreSQL MySQL MariaDB HTTP CSV JSON Arrow YAML Ctrl Enter Apache Iceberg PyIceberg EN NULL English nyc nycc inbox flights shop orders weather planes airports airlines replay source topic table record before".split(" "),
  );
  const isName = (word) => /[\d_./:@{}*-]/.test(word) || ALLOWED.has(word);
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.textContent.trim();
    const element = node.parentElement;
    if (!/[A-Za-z]{3,}/.test(text) || /[\u4e00-\u9fff]/.test(text)) continue;
    if (element.closest("[lang=en], code, pre, script, style, .mono, .cm-editor") || !element.checkVisibility()) continue;
    const words = text.split(/[\s,·()]+/).filter((word) => /[A-Za-z]{3,}/.test(word));
    if (words.some((word) => !isName(word))) found.add(text);
  }
  for (const element of document.querySelectorAll("[aria-label], [placeholder], [title]")) {
    if (element.closest("[lang=en], .cm-editor")) continue;
    for (const name of ["aria-label", "placeholder", "title"]) {
      const text = element.getAttribute(name)?.trim() ?? "";
      if (!/[A-Za-z]{3,}/.test(text) || /[\u4e00-\u9fff]/.test(text)) continue;
      if (text.split(/[\s,·()]+/).some((word) => /[A-Za-z]{3,}/.test(word) && !isName(word))) found.add(`${name}: ${text}`);
    }
  }
  return [...found];
}
