// English, in one place. The documentation itself stands in the repository's docs.

export const help = {
  title: 'Help',
  about: 'The whole documentation of this version. It is part of the node: nothing is loaded from elsewhere.',
  search: 'Search the help',
  pages: 'Pages',
  onPage: 'On this page',
  results: (n: number) => (n === 0 ? 'Nothing found' : n === 1 ? '1 place' : `${n} places`),
  nothing: 'Nothing in the documentation has these words',
  nothingHelp: 'Try fewer or other words. The glossary lists the words that are used here.',
  noPage: 'There is no such page in the documentation',
  table: 'Table',
  code: 'Commands',
};

export const about = {
  title: 'About',
  lead: 'Palisade: access to machines without keys lying around on them.',
  version: 'Version',
  cluster: 'Cluster',
  node: 'Node that answers',
  licence: 'Licence of Palisade',
  licenceName: 'Apache-2.0',
  api: 'API',
  apiLink: 'The OpenAPI document of this node',
  packages: 'Packages in these pages',
  packagesAbout: (n: number) => `${n} packages from npm are part of the pages that you look at. Those of the programs are listed in the bill of materials beside the packages.`,
  name: 'Package',
  packageVersion: 'Version',
  packageLicence: 'Licence',
  noText: 'The package comes without a text of its licence.',
  text: (name: string) => `Licence of ${name}`,
  search: 'Search packages and licences',
  none: 'No package has that name',
};
