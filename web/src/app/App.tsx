import { MantineProvider } from "@mantine/core";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { useCallback, useEffect, useMemo, useState } from "react";
import { setSignedOutHandler } from "~/api/client";
import { type Dictionary, I18nContext, type Language, loadDictionary, storeLanguage } from "~/i18n";
import { Toasts } from "~/components/toasts";
import { client } from "./client";
import { router } from "./routes";
import { cssVariables, theme } from "./theme";

setSignedOutHandler(() => void client.invalidateQueries({ queryKey: ["session"] }));

export function App({ language, dictionary }: { language: Language; dictionary: Dictionary }) {
  const [words, setWords] = useState({ language, dictionary });
  const change = useCallback((next: Language) => {
    storeLanguage(next);
    void loadDictionary(next).then((loaded) => setWords({ language: next, dictionary: loaded }));
  }, []);
  const i18n = useMemo(() => ({ ...words, change }), [words, change]);
  useEffect(() => {
    document.documentElement.lang = words.language;
  }, [words.language]);

  return (
    <I18nContext.Provider value={i18n}>
      <MantineProvider theme={theme} cssVariablesResolver={cssVariables} defaultColorScheme="auto">
        <QueryClientProvider client={client}>
          <RouterProvider router={router} />
          <Toasts />
        </QueryClientProvider>
      </MantineProvider>
    </I18nContext.Provider>
  );
}
