import { NativeSelect } from "@mantine/core";
import type { Role } from "~/api/types";
import { useT } from "~/i18n";

const ROLES: Role[] = ["viewer", "editor", "admin"];

export function RoleSelect({ value, onChange }: { value: Role; onChange: (role: Role) => void }) {
  const t = useT();
  return (
    <NativeSelect
      label={t("access.role")}
      description={t(`access.role_note.${value}`)}
      value={value}
      onChange={(event) => onChange(ROLES.find((role) => role === event.currentTarget.value) ?? "viewer")}
      data={ROLES.map((role) => ({ value: role, label: t(`access.role.${role}`) }))}
    />
  );
}
