declare module 'virtual:record-schemas' {
  const schemas: Record<string, Record<string, import('../build/schemas').FieldSchema>>;
  export default schemas;
}

declare module 'virtual:help' {
  const pages: import('../build/help').HelpPage[];
  export default pages;
}

declare module 'virtual:licences' {
  const packages: import('../build/licences').Licensed[];
  export default packages;
}
