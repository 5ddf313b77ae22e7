/** The fields of an image configuration that the engine reads and writes (image-spec v1, config.md; Docker's superset). */
export interface ImageConfig {
  readonly architecture?: string
  readonly os?: string
  readonly variant?: string
  readonly created?: string
  readonly author?: string
  readonly config?: ImageRunConfig
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly string[] }
  readonly history?: readonly ImageHistory[]
  readonly container_config?: unknown
  readonly docker_version?: string
}

/** What a container made from the image runs by default. */
export interface ImageRunConfig {
  readonly User?: string
  readonly ExposedPorts?: Readonly<Record<string, unknown>> | null
  readonly Env?: readonly string[] | null
  readonly Entrypoint?: readonly string[] | null
  readonly Cmd?: readonly string[] | null
  readonly Volumes?: Readonly<Record<string, unknown>> | null
  readonly WorkingDir?: string
  readonly Labels?: Readonly<Record<string, string>> | null
  readonly StopSignal?: string
  readonly Shell?: readonly string[] | null
  readonly Healthcheck?: unknown
  readonly OnBuild?: readonly string[] | null
  readonly ArgsEscaped?: boolean
}

/** One step of how an image was made. */
export interface ImageHistory {
  readonly created?: string
  readonly created_by?: string
  readonly author?: string
  readonly comment?: string
  readonly empty_layer?: boolean
}

/** A reference to content (image-spec v1, descriptor.md). */
export interface Descriptor {
  readonly mediaType?: string
  readonly digest: string
  readonly size: number
  readonly platform?: { readonly architecture: string; readonly os: string; readonly variant?: string }
  readonly annotations?: Readonly<Record<string, string>>
}
