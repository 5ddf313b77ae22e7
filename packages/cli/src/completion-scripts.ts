/** Scripts that make shells ask `gantry __complete WORDS…`: a candidate and its help on each line, then `:files` or `:`. */
export const COMPLETION_SCRIPTS: Readonly<Record<string, string>> = {
  bash: `# gantry completion for bash: source it, or put it into /etc/bash_completion.d
_gantry() {
  local line=\${COMP_LINE:0:COMP_POINT} words lines prefix one
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  local current=\${words[-1]}
  mapfile -t lines < <("\${words[0]}" __complete "\${words[@]:1}" 2>/dev/null)
  # Readline replaces only what follows the last : or =
  prefix=\${current%"\${current##*[:=]}"}
  COMPREPLY=()
  for one in "\${lines[@]}"; do
    case $one in
      :files) compopt -o default ;;
      :) ;;
      *)
        one=\${one%%$'\\t'*}
        COMPREPLY+=("\${one#"$prefix"}")
        [[ $one == *[:=] ]] && compopt -o nospace
        ;;
    esac
  done
}
complete -F _gantry gantry
`,
  zsh: `#compdef gantry
# gantry completion for zsh: put it into a folder of $fpath as _gantry, or source it
_gantry() {
  local -a lines candidates
  local line files=
  lines=("\${(@f)$("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for line in "\${lines[@]}"; do
    case $line in
      :files) files=1 ;;
      :|'') ;;
      *) candidates+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}") ;;
    esac
  done
  (( \${#candidates} )) && _describe gantry candidates
  [[ -n $files ]] && _files
}
(( $+functions[compdef] )) && compdef _gantry gantry
`,
  fish: `# gantry completion for fish: put it into ~/.config/fish/completions/gantry.fish
function __gantry_ask
  set -l words (commandline -opc)
  $words[1] __complete $words[2..-1] (commandline -ct) 2>/dev/null
end
function __gantry_words
  __gantry_ask | string match -v -r '^:'
end
function __gantry_wants_files
  test (__gantry_ask)[-1] = :files
end
complete -c gantry -f -a '(__gantry_words)'
complete -c gantry -n __gantry_wants_files -F
`,
}
