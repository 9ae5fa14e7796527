import "@mantine/core/styles.css";
import "./app/base.css";
import { createRoot } from "react-dom/client";
import { App } from "./app/App";
import { loadDictionary, preferredLanguage } from "./i18n";

const language = preferredLanguage();
const root = document.getElementById("root");
if (!root) throw new Error("index.html has no element `root`");
const dictionary = await loadDictionary(language);
createRoot(root).render(<App language={language} dictionary={dictionary} />);
