import { Button } from "@mantine/core";
import { IconDownload, IconFolderDown, IconPlus } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { commands } from "~/api/queries";
import { AppLink } from "~/components/AppLink";
import { Confirm } from "~/components/Confirm";
import { useMay } from "~/components/may";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { TabBar } from "~/components/TabBar";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { saveFile } from "~/ui/copy";
import { ResourceTable } from "../parts/ResourceTable";
import { Revisions } from "../parts/Revisions";

export default function ResourceListPage() {
  const t = useT();
  const may = useMay();
  const [asking, setAsking] = useState(false);
  const exported = useMutation({
    mutationFn: commands.exportResources,
    onSuccess: (text) => saveFile("tarn-resources.yaml", text, "text/yaml"),
    onError: (error) => toast(error.message, true),
  });
  const writeBack = async () => {
    const { files } = await commands.writeBack();
    toast(t("resource.written", { count: files.length }));
  };
  return (
    <>
      <PageHeader
        title={t("nav.resources")}
        lead={t("resource.lead")}
        actions={
          <>
            <Button variant="default" leftSection={<IconDownload size={15} />} loading={exported.isPending} onClick={() => exported.mutate()}>
              {t("resource.export")}
            </Button>
            <Button variant="default" leftSection={<IconFolderDown size={15} />} disabled={!may.edit} onClick={() => setAsking(true)}>
              {t("resource.write_back")}
            </Button>
            <Button component={AppLink} href={paths.newResource} leftSection={<IconPlus size={15} />}>
              {t("resource.new")}
            </Button>
          </>
        }
      />
      <TabBar
        label={t("nav.resources")}
        tabs={[
          { id: "current", label: t("resource.current"), content: () => <ResourceTable /> },
          { id: "revisions", label: t("resource.revisions"), content: () => <Revisions /> },
        ]}
      />
      <Confirm
        opened={asking}
        onClose={() => setAsking(false)}
        title={t("resource.write_back")}
        text={t("resource.write_back_text")}
        verb={t("resource.write_back")}
        run={writeBack}
      />
    </>
  );
}
