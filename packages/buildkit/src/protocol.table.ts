/**
 * What BuildKit's clients speak, as data: packages in the order in which they need each other, messages as `name=number type`, and
 * services. Fields that nobody here reads or writes are left out: they pass by. Enumerations are numbers on the wire, and here.
 * Source: the protocol's own descriptors, as today's clients carry them (moby.buildkit.v1, moby.filesync.v1 and their like).
 */
export interface PackageTable {
  readonly name: string
  readonly messages: Readonly<Record<string, string>>
  readonly services?: Readonly<Record<string, readonly string[]>>
}

export const PACKAGES: readonly PackageTable[] = [
  { name: 'google.protobuf', messages: { Timestamp: 'seconds=1 int64, nanos=2 int32', Any: 'type_url=1 string, value=2 bytes' } },
  { name: 'google.rpc', messages: { Status: 'code=1 int32, message=2 string, details=3 repeated google.protobuf.Any' } },
  {
    name: 'pb',
    messages: {
      Platform: 'Architecture=1 string, OS=2 string, Variant=3 string',
      Definition: 'def=1 repeated bytes, metadata=2 map pb.OpMetadata, Source=3 pb.Source',
      OpMetadata: 'description=2 map string, caps=5 map bool',
      Source: 'infos=2 repeated pb.SourceInfo',
      SourceInfo: 'filename=1 string, data=2 bytes, definition=3 pb.Definition, language=4 string',
      Position: 'line=1 int32, character=2 int32',
      Range: 'start=1 pb.Position, end=2 pb.Position',
      SourceOp: 'identifier=1 string, attrs=2 map string',
      Input: 'digest=1 string, index=2 int64',
      Op: 'inputs=1 repeated pb.Input, source=3 pb.SourceOp, platform=10 pb.Platform',
    },
  },
  {
    name: 'moby.buildkit.v1.types',
    messages: {
      WorkerRecord: 'ID=1 string, Labels=2 map string, platforms=3 repeated pb.Platform, GCPolicy=4 repeated moby.buildkit.v1.types.GCPolicy, BuildkitVersion=5 moby.buildkit.v1.types.BuildkitVersion',
      GCPolicy: 'all=1 bool, keepDuration=2 int64, reservedSpace=3 int64, filters=4 repeated string, maxUsedSpace=5 int64, minFreeSpace=6 int64',
      BuildkitVersion: 'package=1 string, version=2 string, revision=3 string',
    },
  },
  { name: 'moby.buildkit.v1.sourcepolicy', messages: { Policy: 'version=1 int64, rules=2 repeated moby.buildkit.v1.sourcepolicy.Rule', Rule: 'action=1 int32' } },
  {
    name: 'moby.buildkit.v1',
    messages: {
      PruneRequest: 'filter=1 repeated string, all=2 bool, keepDuration=3 int64, reservedSpace=4 int64, maxUsedSpace=5 int64, minFreeSpace=6 int64',
      DiskUsageRequest: 'filter=1 repeated string',
      DiskUsageResponse: 'record=1 repeated moby.buildkit.v1.UsageRecord',
      UsageRecord: 'ID=1 string, Mutable=2 bool, InUse=3 bool, Size=4 int64, CreatedAt=6 google.protobuf.Timestamp, LastUsedAt=7 google.protobuf.Timestamp, UsageCount=8 int64, Description=9 string, RecordType=10 string, Shared=11 bool, Parents=12 repeated string',
      Exporter: 'Type=1 string, Attrs=2 map string',
      CacheOptionsEntry: 'Type=1 string, Attrs=2 map string',
      CacheOptions: 'Exports=4 repeated moby.buildkit.v1.CacheOptionsEntry, Imports=5 repeated moby.buildkit.v1.CacheOptionsEntry',
      SolveRequest: 'Ref=1 string, Definition=2 pb.Definition, ExporterDeprecated=3 string, ExporterAttrsDeprecated=4 map string, Session=5 string, Frontend=6 string, FrontendAttrs=7 map string, Cache=8 moby.buildkit.v1.CacheOptions, Entitlements=9 repeated string, FrontendInputs=10 map pb.Definition, Internal=11 bool, SourcePolicy=12 moby.buildkit.v1.sourcepolicy.Policy, Exporters=13 repeated moby.buildkit.v1.Exporter',
      SolveResponse: 'ExporterResponse=1 map string',
      StatusRequest: 'Ref=1 string',
      StatusResponse: 'vertexes=1 repeated moby.buildkit.v1.Vertex, statuses=2 repeated moby.buildkit.v1.VertexStatus, logs=3 repeated moby.buildkit.v1.VertexLog, warnings=4 repeated moby.buildkit.v1.VertexWarning',
      Vertex: 'digest=1 string, inputs=2 repeated string, name=3 string, cached=4 bool, started=5 google.protobuf.Timestamp, completed=6 google.protobuf.Timestamp, error=7 string',
      VertexStatus: 'ID=1 string, vertex=2 string, name=3 string, current=4 int64, total=5 int64, timestamp=6 google.protobuf.Timestamp, started=7 google.protobuf.Timestamp, completed=8 google.protobuf.Timestamp',
      VertexLog: 'vertex=1 string, timestamp=2 google.protobuf.Timestamp, stream=3 int64, msg=4 bytes',
      VertexWarning: 'vertex=1 string, level=2 int64, short=3 bytes, detail=4 repeated bytes, url=5 string, info=6 pb.SourceInfo, ranges=7 repeated pb.Range',
      BytesMessage: 'data=1 bytes',
      ListWorkersRequest: 'filter=1 repeated string',
      ListWorkersResponse: 'record=1 repeated moby.buildkit.v1.types.WorkerRecord',
      InfoRequest: '',
      InfoResponse: 'buildkitVersion=1 moby.buildkit.v1.types.BuildkitVersion',
      BuildHistoryRequest: 'ActiveOnly=1 bool, Ref=2 string, EarlyExit=3 bool, Filter=4 repeated string, Limit=5 int32',
      BuildHistoryEvent: 'type=1 int32, record=2 moby.buildkit.v1.BuildHistoryRecord',
      BuildHistoryRecord: 'Ref=1 string, Frontend=2 string, FrontendAttrs=3 map string, Exporters=4 repeated moby.buildkit.v1.Exporter, error=5 google.rpc.Status, CreatedAt=6 google.protobuf.Timestamp, CompletedAt=7 google.protobuf.Timestamp, ExporterResponse=9 map string, pinned=14 bool, numCachedSteps=15 int32, numTotalSteps=16 int32, numCompletedSteps=17 int32, numWarnings=19 int32',
      UpdateBuildHistoryRequest: 'Ref=1 string, Pinned=2 bool, Delete=3 bool, Finalize=4 bool',
      UpdateBuildHistoryResponse: '',
    },
    services: {
      Control: [
        'DiskUsage moby.buildkit.v1.DiskUsageRequest -> moby.buildkit.v1.DiskUsageResponse',
        'Prune moby.buildkit.v1.PruneRequest -> stream moby.buildkit.v1.UsageRecord',
        'Solve moby.buildkit.v1.SolveRequest -> moby.buildkit.v1.SolveResponse',
        'Status moby.buildkit.v1.StatusRequest -> stream moby.buildkit.v1.StatusResponse',
        'Session stream moby.buildkit.v1.BytesMessage -> stream moby.buildkit.v1.BytesMessage',
        'ListWorkers moby.buildkit.v1.ListWorkersRequest -> moby.buildkit.v1.ListWorkersResponse',
        'Info moby.buildkit.v1.InfoRequest -> moby.buildkit.v1.InfoResponse',
        'ListenBuildHistory moby.buildkit.v1.BuildHistoryRequest -> stream moby.buildkit.v1.BuildHistoryEvent',
        'UpdateBuildHistory moby.buildkit.v1.UpdateBuildHistoryRequest -> moby.buildkit.v1.UpdateBuildHistoryResponse',
      ],
    },
  },
  { name: 'moby.buildkit.v1.apicaps', messages: { APICap: 'ID=1 string, Enabled=2 bool' } },
  {
    name: 'moby.buildkit.v1.frontend',
    messages: {
      Ref: 'id=1 string, def=2 pb.Definition',
      RefMap: 'refs=1 map moby.buildkit.v1.frontend.Ref',
      Result: 'ref=3 moby.buildkit.v1.frontend.Ref, refs=4 moby.buildkit.v1.frontend.RefMap, metadata=10 map bytes',
      ReturnRequest: 'result=1 moby.buildkit.v1.frontend.Result, error=2 google.rpc.Status',
      ReturnResponse: '',
      SolveRequest: 'Definition=1 pb.Definition, Frontend=2 string, FrontendOpt=3 map string, CacheImports=12 repeated moby.buildkit.v1.frontend.CacheOptionsEntry, FrontendInputs=13 map pb.Definition, Evaluate=14 bool',
      CacheOptionsEntry: 'Type=1 string, Attrs=2 map string',
      SolveResponse: 'ref=1 string, result=3 moby.buildkit.v1.frontend.Result',
      ResolveImageConfigRequest: 'Ref=1 string, Platform=2 pb.Platform, ResolveMode=3 string',
      ResolveImageConfigResponse: 'Digest=1 string, Config=2 bytes, Ref=3 string',
      EvaluateRequest: 'Ref=1 string',
      EvaluateResponse: '',
      PingRequest: '',
      PongResponse: 'FrontendAPICaps=1 repeated moby.buildkit.v1.apicaps.APICap, LLBCaps=2 repeated moby.buildkit.v1.apicaps.APICap, Workers=3 repeated moby.buildkit.v1.types.WorkerRecord',
      InputsRequest: '',
      InputsResponse: 'Definitions=1 map pb.Definition',
    },
    services: {
      LLBBridge: [
        'ResolveImageConfig moby.buildkit.v1.frontend.ResolveImageConfigRequest -> moby.buildkit.v1.frontend.ResolveImageConfigResponse',
        'Solve moby.buildkit.v1.frontend.SolveRequest -> moby.buildkit.v1.frontend.SolveResponse',
        'Evaluate moby.buildkit.v1.frontend.EvaluateRequest -> moby.buildkit.v1.frontend.EvaluateResponse',
        'Ping moby.buildkit.v1.frontend.PingRequest -> moby.buildkit.v1.frontend.PongResponse',
        'Return moby.buildkit.v1.frontend.ReturnRequest -> moby.buildkit.v1.frontend.ReturnResponse',
        'Inputs moby.buildkit.v1.frontend.InputsRequest -> moby.buildkit.v1.frontend.InputsResponse',
      ],
    },
  },
  {
    name: 'moby.filesync.v1',
    messages: { BytesMessage: 'data=1 bytes', CredentialsRequest: 'Host=1 string', CredentialsResponse: 'Username=1 string, Secret=2 string' },
  },
  {
    name: 'containerd.services.content.v1',
    messages: {
      ReadContentRequest: 'digest=1 string, offset=2 int64, size=3 int64',
      ReadContentResponse: 'offset=1 int64, data=2 bytes',
      WriteContentRequest: 'action=1 int32, ref=2 string, total=3 int64, expected=4 string, offset=5 int64, data=6 bytes',
      WriteContentResponse: 'action=1 int32, offset=4 int64, total=5 int64, digest=6 string',
    },
  },
  { name: 'moby.buildkit.secrets.v1', messages: { GetSecretRequest: 'ID=1 string', GetSecretResponse: 'data=1 bytes' } },
  { name: 'moby.sshforward.v1', messages: { CheckAgentRequest: 'ID=1 string', CheckAgentResponse: '' } },
  {
    name: 'grpc.health.v1',
    messages: { HealthCheckRequest: 'service=1 string', HealthCheckResponse: 'status=1 int32' },
    services: { Health: ['Check grpc.health.v1.HealthCheckRequest -> grpc.health.v1.HealthCheckResponse'] },
  },
]
