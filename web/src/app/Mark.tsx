/** The sign of Tarn: a ridge and its reflection in the lake. */
export function Mark({ size = 24 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden>
      <rect width="32" height="32" rx="7" fill="#0b5c5a" />
      <path d="M4.5 17 12 7l4.2 5.4L19 9l8.5 8z" fill="#e8f5f3" />
      <path d="M6 20h20M9 23.5h14M12.5 27h7" stroke="#7fd0c9" strokeWidth="2" strokeLinecap="round" />
    </svg>
  );
}
