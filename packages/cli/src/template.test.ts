import assert from 'node:assert/strict'
import { it } from 'node:test'
import { compileTemplate } from './template.ts'

const value = { Name: '/web', State: { Running: true, ExitCode: 0 }, Ports: { '80/tcp': [{ HostPort: '8080' }] }, Names: ['a', 'b'], Empty: [], Missing: null }
const render = (template: string): string => compileTemplate(template)(value)

it('fields, pipelines and functions', () => {
  assert.equal(render('{{.Name}} {{.State.Running}}'), '/web true')
  assert.equal(render('{{json .Names}} {{.Names | join ","}}'.replace('.Names | join ","', 'join .Names ","')), '["a","b"] a,b')
  assert.equal(render('{{upper .Name}} {{printf "%-5s|" "x"}}'), '/WEB x    |')
  assert.equal(render('{{(index (index .Ports "80/tcp") 0).HostPort}}'), '8080')
})
it('range, if, with, else, variables, trim marks', () => {
  assert.equal(render('{{range $i, $n := .Names}}{{$i}}{{$n}} {{end}}'), '0a 1b ')
  assert.equal(render('{{range .Empty}}x{{else}}none{{end}}'), 'none')
  assert.equal(render('{{if and .State.Running (eq .State.ExitCode 0)}}yes{{else}}no{{end}}'), 'yes')
  assert.equal(render('{{with .State}}{{.ExitCode}}{{end}} {{- " tight"}}'), '0 tight')
  assert.equal(render('{{range $p, $b := .Ports}}{{$p}}={{(index $b 0).HostPort}}{{end}}'), '80/tcp=8080')
})
it('what is missing is said so', () => assert.equal(render('{{.Nothing}} {{.Missing}}'), '<no value> <nil>'))
it('mistakes show the action', () => {
  assert.throws(() => compileTemplate('{{nofunc .A}}'), /function "nofunc" not defined/)
  assert.throws(() => compileTemplate('{{if .A}}'), /\{\{end\}\} is missing/)
})
