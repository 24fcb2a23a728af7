"""Update rules: one file each; a rule says how parameters follow the changed records."""
