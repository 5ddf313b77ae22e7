export { compileTemplate } from './template.ts'
