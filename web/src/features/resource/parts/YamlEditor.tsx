import { yaml } from "@codemirror/lang-yaml";
import CodeEditor, { type CodeEditorProps } from "~/components/code/CodeEditor";

const LANGUAGE = yaml();

/** The editor with YAML; its own module, so that the page shows before it is loaded. */
export default function YamlEditor(props: Omit<CodeEditorProps, "language">) {
  return <CodeEditor {...props} language={LANGUAGE} />;
}
