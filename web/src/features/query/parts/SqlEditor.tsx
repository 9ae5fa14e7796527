import { useMemo } from "react";
import type { Completion } from "~/api/types";
import CodeEditor, { type CodeEditorProps } from "~/components/code/CodeEditor";
import { sqlLanguage } from "./sql-language";

/** The editor with SQL; its own module, so that the page shows before it is loaded. */
export default function SqlEditor({ completion, ...rest }: Omit<CodeEditorProps, "language"> & { completion: Completion | undefined }) {
  const language = useMemo(() => sqlLanguage(completion), [completion]);
  return <CodeEditor {...rest} language={language} />;
}
