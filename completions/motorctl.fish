# Completion of motorctl for fish 3 and later.
function __motorctl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -lx _MOTORCTL_LINE (string join ' ' -- (string escape -- $words) "$current")
    set -l answer ($words[1] __complete fish 2>/dev/null)
    if test (count $answer) -gt 1
        printf '%s\n' $answer[2..-1]
    end
    if test "$answer[1]" = files
        __fish_complete_path "$current"
    end
end
complete --command motorctl --no-files --keep-order --arguments '(__motorctl_complete)'
