//go:build !newer

package flow

// Wire is the newest version of the messages that this program reads. A producer writes frames of the deployment's version
// ([Deployment.Wire]), which is one that all instances read; results, scenes and done messages have the version of their
// frame. 1: the partition of a frame follows from its source ([FirstPartition]). 2: each message names its partition, a frame
// and its results their copy, and answers may be of any kind.
const Wire = 2
