/** How many letters have to be put in, taken out, changed or swapped with their neighbour to make one word of another. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, n) => n)]
  const at = (i: number, j: number): number => rows[i]?.[j] ?? 0
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    rows.push(row)
    for (let j = 1; j <= b.length; j++) {
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      row.push(Math.min((row[j - 1] ?? 0) + 1, at(i - 1, j) + 1, at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1), swapped ? at(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY))
    }
  }
  return at(a.length, b.length)
}

/** Words that somebody may have meant: one letter wrong, two in words of more than five, or the beginning of one. */
export function suggestions(word: string, known: readonly string[]): readonly string[] {
  const allowed = word.length <= 5 ? 1 : 2
  return [...new Set(known.filter((name) => distance(name, word) <= allowed || (word.length > 2 && name.startsWith(word))))].sort((a, b) => distance(a, word) - distance(b, word))
}
