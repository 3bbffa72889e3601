package extproc

// Codec is the codec that ServerOptions force.
var Codec = codec{}
