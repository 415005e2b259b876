import jsxA11y from 'eslint-plugin-jsx-a11y';
import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

// English stands in src/strings alone, so that it can be translated: no text with letters in JSX, nor in the
// attributes that people read.
const literal = [
  { selector: 'JSXText[value=/[A-Za-z]{2,}/]', message: 'Text belongs into src/strings.' },
  {
    selector: 'JSXAttribute[name.name=/^(title|label|placeholder|aria-label|aria-description|alt|hint)$/] > Literal[value=/[A-Za-z]{2,}/]',
    message: 'Text belongs into src/strings.',
  },
];

// What would run or render text as code. The content policy forbids it as well; here it is seen earlier.
const dangerous = [
  { selector: 'JSXAttribute[name.name="dangerouslySetInnerHTML"]', message: 'Nothing is rendered from HTML text.' },
  { selector: 'AssignmentExpression > MemberExpression.left[property.name=/^(innerHTML|outerHTML)$/]', message: 'Nothing is rendered from HTML text.' },
  { selector: 'CallExpression[callee.property.name="insertAdjacentHTML"]', message: 'Nothing is rendered from HTML text.' },
];

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'src/api/schema.ts', 'src/pages/help/generated', 'public', 'scripts'] },
  ...tseslint.configs.recommended,
  {
    files: ['**/*.{ts,tsx}'],
    plugins: { 'jsx-a11y': jsxA11y, 'react-hooks': reactHooks },
    rules: {
      ...jsxA11y.configs.recommended.rules,
      ...reactHooks.configs.recommended.rules,
      'jsx-a11y/no-autofocus': 'off',
      'no-restricted-syntax': ['error', ...literal, ...dangerous],
      'no-restricted-globals': ['error', { name: 'localStorage', message: 'Preferences go through src/lib/prefs.' }, 'sessionStorage'],
      'no-eval': 'error',
      'no-console': 'error',
      eqeqeq: ['error', 'smart'],
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'max-lines': ['error', { max: 300, skipBlankLines: true, skipComments: true }],
    },
  },
  { files: ['**/*.test.{ts,tsx}', 'src/strings/**', 'build/**'], rules: { 'max-lines': 'off', 'no-restricted-syntax': 'off' } },
);
