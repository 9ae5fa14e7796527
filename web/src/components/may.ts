import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";

/** What the session may do; unknown means not. */
export function useMay(): { edit: boolean; admin: boolean } {
  const { data } = useQuery(queries.session);
  const open = data !== undefined && !data.read_only;
  return {
    edit: open && (data.role === "editor" || data.role === "admin"),
    admin: open && data.role === "admin",
  };
}
