# Completion of motorctl for PowerShell 5.1 and later.
Register-ArgumentCompleter -Native -CommandName motorctl -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    # The line up to the cursor goes through a variable: how an empty or quoted argument reaches a program
    # differs from version to version.
    $end = $cursorPosition - $commandAst.Extent.StartOffset
    $line = $commandAst.Extent.Text.PadRight($end).Substring(0, $end)
    $program = $commandAst.CommandElements[0].Extent.Text.Trim('"', "'")
    $env:_MOTORCTL_LINE = $line
    try {
        $what, $words = @(& $program __complete powershell 2>$null)
    }
    finally {
        Remove-Item Env:_MOTORCTL_LINE
    }
    if (-not $words) {
        # Nothing at all makes PowerShell complete files; an empty string keeps it from that.
        if ($what -ne 'files') { '' }
        return
    }
    foreach ($item in $words) {
        $word, $help = $item -split "`t", 2
        if (-not $help) { $help = $word }
        [System.Management.Automation.CompletionResult]::new($word, $word.Trim("'"), 'ParameterValue', $help)
    }
}
