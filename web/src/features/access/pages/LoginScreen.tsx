import { Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useState } from "react";
import { ApiError } from "~/api/client";
import { commands } from "~/api/queries";
import type { Session } from "~/api/types";
import { ErrorNote, Note } from "~/components/ErrorNote";
import { LANGUAGES, useLanguage, useT } from "~/i18n";
import classes from "./LoginScreen.module.css";

/** Asks who it is. */
export function LoginScreen({ session }: { session: Session }) {
  const t = useT();
  const [language, change] = useLanguage();
  const client = useQueryClient();
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const signIn = useMutation({
    mutationFn: () => commands.signIn(user, password),
    onSuccess: () => client.resetQueries(),
  });
  useEffect(() => {
    document.title = `${t("login.title")} · Tarn`;
  }, [t]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    signIn.mutate();
  };
  const wrong = signIn.error instanceof ApiError && signIn.error.kind === "denied";
  return (
    <main className={classes.page}>
      <Lake />
      <form className={classes.card} onSubmit={submit}>
        <h1 className={classes.title}>Tarn</h1>
        <p className="dim" style={{ margin: "0 0 18px" }}>
          {t("login.to", { project: session.project })}
        </p>
        <Stack gap="sm">
          <TextInput label={t("login.user")} autoComplete="username" required autoFocus value={user} onChange={(e) => setUser(e.currentTarget.value)} />
          <PasswordInput
            label={t("login.password")}
            autoComplete="current-password"
            required
            value={password}
            onChange={(e) => setPassword(e.currentTarget.value)}
            visibilityToggleButtonProps={{ "aria-label": t("form.show_value") }}
          />
          {wrong && <Note message={t("login.wrong")} hint={t("login.wrong_hint")} />}
          {signIn.error && !wrong && <ErrorNote error={signIn.error} />}
          <Button type="submit" size="sm" loading={signIn.isPending} fullWidth mt={4}>
            {t("login.sign_in")}
          </Button>
        </Stack>
        <div className={classes.languages}>
          {LANGUAGES.map((choice) => (
            <Button
              key={choice.id}
              variant={choice.id === language ? "light" : "subtle"}
              color="gray"
              size="compact-xs"
              lang={choice.id}
              aria-pressed={choice.id === language}
              onClick={() => change(choice.id)}
            >
              {choice.label}
            </Button>
          ))}
        </div>
      </form>
    </main>
  );
}

function Lake() {
  return (
    <svg className={classes.lake} viewBox="0 0 1200 400" preserveAspectRatio="xMidYMax slice" aria-hidden>
      <path d="M0 250 180 120 300 200 430 90 560 210 700 60 860 220 960 150 1200 270V400H0Z" fill="var(--accent)" opacity="0.1" />
      <path d="M0 280 240 190 420 270 640 170 820 270 1010 210 1200 290V400H0Z" fill="var(--accent)" opacity="0.14" />
      <path d="M0 300H1200M60 326H1140M140 352H1040M240 378H940" stroke="var(--accent)" strokeWidth="2" opacity="0.22" />
    </svg>
  );
}
