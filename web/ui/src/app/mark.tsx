/** Three pales: the mark of the product. */
export function Mark({ size = 20 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" className="mark">
      <rect width="16" height="16" rx="3.5" fill="var(--accent)" />
      <path d="M3 13V5.500l1.500-2L6 5.500V13zM6.500 13V5.500l1.500-2 1.500 2V13zM10 13V5.500l1.500-2 1.500 2V13z" fill="var(--on-accent)" />
    </svg>
  );
}
