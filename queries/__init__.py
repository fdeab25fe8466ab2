"""Questions to the lake: one SQL file each, by theme, with a thin runner. Imports the lake and never the builders."""
