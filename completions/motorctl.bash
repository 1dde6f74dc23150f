# Completion of motorctl for bash 4 and later.
_motorctl() {
    local line what=
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ -z $what ]]; then
            what=$line
        else
            COMPREPLY+=("${line%%$'\t'*}")
        fi
    done < <(_MOTORCTL_LINE=${COMP_LINE:0:COMP_POINT} "${1/#\~/$HOME}" __complete bash "$COMP_WORDBREAKS" 2>/dev/null)
    case $what in
        files)
            # Without a word readline completes files by itself, ~ and all; beside words they are added here.
            if ((${#COMPREPLY[@]})); then
                while IFS= read -r line; do
                    COMPREPLY+=("$line")
                done < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
                compopt -o filenames 2>/dev/null
            else
                compopt -o default 2>/dev/null
            fi
            ;;
        nospace) compopt -o nospace 2>/dev/null ;;
    esac
}
complete -F _motorctl motorctl
