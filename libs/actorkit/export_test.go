package actorkit

// StartAlone is for tests that start systems with remoting beside StartNode.
var StartAlone = startAlone
