import { setDiagnostics } from "@codemirror/lint";
import { Compartment, type Extension, EditorState, Prec } from "@codemirror/state";
import { EditorView, keymap } from "@codemirror/view";
import { basicSetup } from "codemirror";
import { useEffect, useRef } from "react";
import { editorTheme } from "./theme";

export interface Mark {
  line: number;
  column: number;
  message: string;
}

export interface CodeEditorProps {
  label: string;
  value: string;
  onChange?: (value: string) => void;
  /** Ctrl+Enter. */
  onRun?: () => void;
  language: Extension;
  /** Where an error is; the first line and column are 1. */
  marks?: Mark[];
  minHeight?: string;
  maxHeight?: string;
  readOnly?: boolean;
}

const NO_MARKS: Mark[] = [];

/** The place of a mark in the text; a place outside is moved to the nearest inside. */
function rangeOf(state: EditorState, mark: Mark): { from: number; to: number } {
  const line = state.doc.line(Math.min(Math.max(1, mark.line), state.doc.lines));
  const at = Math.min(line.from + Math.max(0, mark.column - 1), line.to);
  // A mark of a whole line stands under its first word, not under what it is indented by.
  const from = at + (/^\s+(?=\S)/.exec(state.sliceDoc(at, line.to))?.[0].length ?? 0);
  const word = /^[\w.]+/.exec(state.sliceDoc(from, line.to))?.[0].length ?? 1;
  return { from: from === line.to && from > line.from ? from - 1 : from, to: Math.min(from + word, line.to) };
}

/** A text editor that knows a language. The caller loads this module when it is needed. */
export default function CodeEditor(props: CodeEditorProps) {
  const { label, value, language, marks = NO_MARKS, minHeight = "120px", maxHeight = "50vh", readOnly = false } = props;
  const place = useRef<HTMLDivElement>(null);
  const editor = useRef<EditorView | null>(null);
  const handlers = useRef(props);
  const languageSlot = useRef(new Compartment());
  const initial = useRef({ value, language, label, minHeight, maxHeight, readOnly });

  useEffect(() => {
    handlers.current = props;
  });

  useEffect(() => {
    if (!place.current) return;
    const first = initial.current;
    const view = new EditorView({
      parent: place.current,
      state: EditorState.create({
        doc: first.value,
        extensions: [
          Prec.highest(
            keymap.of([
              {
                key: "Mod-Enter",
                run: () => {
                  handlers.current.onRun?.();
                  return handlers.current.onRun !== undefined;
                },
              },
            ]),
          ),
          basicSetup,
          languageSlot.current.of(first.language),
          editorTheme,
          EditorView.lineWrapping,
          EditorState.readOnly.of(first.readOnly),
          EditorView.contentAttributes.of({ "aria-label": first.label, lang: "en", tabindex: "0" }),
          EditorView.theme({ ".cm-scroller": { minHeight: first.minHeight, maxHeight: first.maxHeight } }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) handlers.current.onChange?.(update.state.doc.toString());
          }),
        ],
      }),
    });
    editor.current = view;
    return () => {
      view.destroy();
      editor.current = null;
    };
  }, []);

  useEffect(() => {
    editor.current?.dispatch({ effects: languageSlot.current.reconfigure(language) });
  }, [language]);

  useEffect(() => {
    const view = editor.current;
    if (!view || view.state.doc.toString() === value) return;
    view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: value } });
  }, [value]);

  useEffect(() => {
    const view = editor.current;
    if (!view) return;
    const diagnostics = marks.map((mark) => ({
      ...rangeOf(view.state, mark),
      severity: "error" as const,
      message: mark.message,
    }));
    view.dispatch(setDiagnostics(view.state, diagnostics));
  }, [marks]);

  return <div ref={place} />;
}
