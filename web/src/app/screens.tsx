import { Button, Skeleton, Stack } from "@mantine/core";
import { useRouter, type ErrorComponentProps } from "@tanstack/react-router";
import { AppLink } from "~/components/AppLink";
import { ErrorNote } from "~/components/ErrorNote";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { useT } from "~/i18n";
import { EmptyState } from "~/ui/EmptyState";

export function PendingScreen() {
  const t = useT();
  return (
    <Stack gap="md" role="status" aria-label={t("common.loading")}>
      <Skeleton height={28} width={220} />
      <Skeleton height={160} />
      <Skeleton height={240} />
    </Stack>
  );
}

export function ErrorScreen({ error }: ErrorComponentProps) {
  const t = useT();
  const router = useRouter();
  return (
    <>
      <PageHeader title={t("error.title")} />
      <ErrorNote error={error} onRetry={() => void router.invalidate()} />
    </>
  );
}

export function NotFoundScreen() {
  const t = useT();
  return (
    <EmptyState
      page
      title={t("error.no_page")}
      text={t("error.no_page_hint")}
      action={
        <Button component={AppLink} href={paths.overview}>
          {t("nav.overview")}
        </Button>
      }
    />
  );
}
