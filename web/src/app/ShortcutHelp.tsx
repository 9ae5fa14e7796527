import { Kbd, Modal } from "@mantine/core";
import { useT } from "~/i18n";
import { MOD_KEY } from "~/ui/keys";
import { GO } from "./shortcuts";
import classes from "./ShortcutHelp.module.css";

/** Which keys do what. */
export default function ShortcutHelp({ onClose }: { onClose: () => void }) {
  const t = useT();
  const rows: [string[], string][] = [
    ...GO.map((one): [string[], string] => [["g", one.key], t("keys.go", { page: t(one.label) })]),
    [["/"], t("keys.search")],
    [[MOD_KEY, "K"], t("keys.palette")],
    [[MOD_KEY, "Enter"], t("keys.run")],
    [["?"], t("keys.help")],
  ];
  return (
    <Modal opened onClose={onClose} title={t("keys.title")} closeButtonProps={{ "aria-label": t("common.close") }}>
      <dl className={classes.keys}>
        {rows.map(([keys, text]) => (
          <div key={text}>
            <dt>
              {keys.map((key) => (
                <Kbd key={key} size="sm" lang="en">
                  {key}
                </Kbd>
              ))}
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}
