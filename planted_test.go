package nixfleet_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// plantedRule is a rule and the tree below plantedDir/house that breaks it in
// so many places. The count is exact: a rule that sees half of what it is for
// is as bad as one that sees nothing.
type plantedRule struct {
	tree  string
	bites int
	check func(*source) []violation
}

// plantedArrows is the map that the planted trees are held against.
var plantedArrows = map[string]box{
	"agent":   {arrows: []arrow{{"host", "it runs Step"}}},
	"host":    {kind: pure},
	"journal": {kind: stdOnly},
}

var plantedRules = []plantedRule{
	// An arrow too many, one unused, a package not on the map, a stranger's library.
	{"arrows", 4, func(s *source) []violation { return arrowViolations(s, plantedArrows) }},
	// import os, time.Now, fmt.Println, go, agent reached by way of fleet; fleet itself is pure there.
	{"pure", 6, func(s *source) []violation {
		return pureViolations(s, map[string]box{"host": {kind: pure}, "fleet": {kind: pure}})
	}},
	// A test, a detour, and the other direction.
	{"strangers", 3, strangerViolations},
	{"comments", 1, packageComments},
	{"names", 2, packageNames},
	{"wallclock", 4, wallClock},
	{"sleeping", 2, sleepingTests},
	{"errortexts", 2, matchedErrorTexts},
	{"leftovers", 3, leftovers},
	{"shells", 2, shells},
	{"pages", 1, pageReferences},
	{"paths", 4, machinePaths},
}

func TestEveryHouseRuleStillBitesOnItsPlantedFailure(t *testing.T) {
	for _, planted := range plantedRules {
		t.Run(planted.tree, func(t *testing.T) {
			found := planted.check(plantedTree(t, planted.tree))
			for _, v := range found {
				t.Log(v)
			}
			if len(found) != planted.bites {
				t.Errorf("the rule bit %d times on %s/house/%s, and should %d times", len(found), plantedDir, planted.tree, planted.bites)
			}
		})
	}
}

func TestNoHouseRuleBitesOnACleanTree(t *testing.T) {
	clean := plantedTree(t, "clean")
	for _, planted := range plantedRules {
		t.Run(planted.tree, func(t *testing.T) { expectNone(t, planted.check(clean)) })
	}
}

// A rule without a planted failure may have stopped working long ago.
func TestEveryPlantedTreeIsUsedAndEveryRuleIsPlanted(t *testing.T) {
	entries, err := os.ReadDir(filepath.FromSlash(plantedDir + "/house"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "clean" && !slices.ContainsFunc(plantedRules, func(p plantedRule) bool { return p.tree == e.Name() }) {
			t.Errorf("%s/house/%s is planted for no rule", plantedDir, e.Name())
		}
	}
	const arrowRules = 3 // arrows, pure, strangers: they have tests of their own
	if len(plantedRules) != len(houseRules)+arrowRules {
		t.Errorf("%d rules, %d planted failures: plant one for each rule", len(houseRules)+arrowRules, len(plantedRules))
	}
}

func plantedTree(t *testing.T, name string) *source {
	t.Helper()
	return loadSource(t, os.DirFS(filepath.FromSlash(plantedDir+"/house/"+name)))
}
