import { PageHeader } from "~/components/PageHeader";
import { TabBar } from "~/components/TabBar";
import { useT } from "~/i18n";
import { Audit } from "../parts/Audit";
import { Keys } from "../parts/Keys";
import { Secrets } from "../parts/Secrets";
import { Users } from "../parts/Users";

/** Who may do what, with which keys and secrets, and what was done. */
export default function AccessPage() {
  const t = useT();
  return (
    <>
      <PageHeader title={t("nav.access")} lead={t("access.lead")} />
      <TabBar
        label={t("nav.access")}
        tabs={[
          { id: "users", label: t("access.users"), content: () => <Users /> },
          { id: "keys", label: t("access.keys"), content: () => <Keys /> },
          { id: "secrets", label: t("access.secrets"), content: () => <Secrets /> },
          { id: "audit", label: t("access.audit"), content: () => <Audit /> },
        ]}
      />
    </>
  );
}
