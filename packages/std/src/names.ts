const LEFT = (
  'able amber apt arctic bold brave bright brisk calm candid clever cosmic crisp deft eager early fair fleet fluent fond frank ' +
  'gentle glad golden grand happy hardy honest humble jolly keen kind lively loyal lucid mellow merry mighty modest neat nimble ' +
  'noble patient placid plucky polite proud prudent quick quiet rapid ready robust rustic serene sharp silent sincere sleek ' +
  'smart snug solid sound spry stable steady stoic sturdy subtle sunny swift tidy trusty upbeat vivid warm wise witty zesty'
).split(' ')
const RIGHT = (
  'anchor arch barge basin beacon berth boom bow brig bridge buoy cable canal capstan cargo chart cleat clipper cog compass coral crane ' +
  'crate current cutter davit deck derrick dinghy dock dory drift ferry flag fleet galley gangway gauge girder gull harbor hatch hawser ' +
  'heron hoist hull jetty keel ketch knot lantern lighter lock mast mooring oar pallet pelican pier pilot port pulley quay rafter reef ' +
  'rigging rudder sail schooner sextant shoal skiff slipway sloop spar stern tern tide tiller trestle truss tug wharf winch yard'
).split(' ')

/** A readable name for a container that has none: two words. `attempt` adds a number once names run short. */
export function readableName(attempt: number, random: () => number = Math.random): string {
  const pick = (words: readonly string[]): string => words[Math.floor(random() * words.length)] ?? 'crate'
  const name = `${pick(LEFT)}_${pick(RIGHT)}`
  return attempt === 0 ? name : `${name}${Math.floor(random() * 10 ** Math.min(attempt, 6))}`
}
