import { ActionIcon, Button, Kbd, Menu, Tooltip, useMantineColorScheme } from "@mantine/core";
import { IconDeviceDesktop, IconKeyboard, IconLogout, IconMoon, IconSearch, IconSun, IconUser } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useConnection } from "~/api/live";
import { commands } from "~/api/queries";
import type { Session } from "~/api/types";
import { LANGUAGES, useLanguage, useT } from "~/i18n";
import { MOD_KEY } from "~/ui/keys";
import { StateBadge } from "~/ui/StateBadge";
import classes from "./TopBar.module.css";

const SCHEMES = ["light", "dark", "auto"] as const;
const SCHEME_ICONS = { light: IconSun, dark: IconMoon, auto: IconDeviceDesktop };

function ThemeButton() {
  const t = useT();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const Icon = SCHEME_ICONS[colorScheme];
  const next = SCHEMES[(SCHEMES.indexOf(colorScheme) + 1) % SCHEMES.length] ?? "auto";
  const label = t("bar.theme", { now: t(`bar.theme.${colorScheme}`) });
  return (
    <Tooltip label={label}>
      <ActionIcon variant="subtle" color="gray" size="lg" aria-label={label} onClick={() => setColorScheme(next)}>
        <Icon size={18} stroke={1.7} />
      </ActionIcon>
    </Tooltip>
  );
}

function LanguageButton() {
  const t = useT();
  const [language, change] = useLanguage();
  const other = LANGUAGES.find((choice) => choice.id !== language) ?? LANGUAGES[0];
  if (!other) return null;
  const short = other.id === "en" ? "EN" : other.label;
  return (
    <Button
      variant="subtle"
      color="gray"
      size="compact-sm"
      lang={other.id}
      aria-label={`${t("bar.language")}: ${short}`}
      onClick={() => change(other.id)}
    >
      {short}
    </Button>
  );
}

function ConnectionState() {
  const t = useT();
  const connection = useConnection();
  const tone = connection === "live" ? "ok" : connection === "connecting" ? "quiet" : "warn";
  return (
    <span role="status" className={classes.connection}>
      <StateBadge tone={tone} label={t(`bar.connection.${connection}`)} pulse={connection !== "live"} />
    </span>
  );
}

function UserMenu({ session, onHelp }: { session: Session; onHelp: () => void }) {
  const t = useT();
  const client = useQueryClient();
  const name = session.user ?? t("bar.nobody");
  const signOut = () => void commands.signOut().finally(() => client.resetQueries());
  return (
    <Menu position="bottom-end" width={220} withArrow>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("bar.user", { name })}>
          <IconUser size={18} stroke={1.7} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item leftSection={<IconKeyboard size={15} />} rightSection={<Kbd size="xs">?</Kbd>} onClick={onHelp}>
          {t("keys.title")}
        </Menu.Item>
        <Menu.Divider />
        <Menu.Label>
          {name}
          {session.role && ` · ${t(`access.role.${session.role}`)}`}
        </Menu.Label>
        {session.authentication_required ? (
          <Menu.Item leftSection={<IconLogout size={15} />} onClick={signOut}>
            {t("bar.sign_out")}
          </Menu.Item>
        ) : (
          <Menu.Label style={{ fontWeight: 400 }}>{t("bar.open_access")}</Menu.Label>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}

interface Props {
  session: Session;
  onSearch: () => void;
  onHelp: () => void;
  menu: ReactNode;
}

export function TopBar({ session, onSearch, onHelp, menu }: Props) {
  const t = useT();
  return (
    <header className={classes.bar}>
      {menu}
      <button type="button" className={classes.search} aria-label={`${t("bar.search")} ${MOD_KEY} K`} onClick={onSearch}>
        <IconSearch size={15} aria-hidden />
        <span>{t("bar.search")}</span>
        <Kbd size="xs">{MOD_KEY} K</Kbd>
      </button>
      <div className={classes.right}>
        {session.read_only && <StateBadge tone="warn" label={t("bar.read_only")} />}
        <ConnectionState />
        <LanguageButton />
        <ThemeButton />
        <UserMenu session={session} onHelp={onHelp} />
      </div>
    </header>
  );
}
