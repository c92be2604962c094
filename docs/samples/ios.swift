// Greedy search with a bundle of tprune on iOS, from token ids to token ids. A sample: not compiled here.
// Swift package: https://github.com/microsoft/onnxruntime-swift-package-manager, with at least the version that
// manifest.json has as `runtime.minimum`. Of the settings in `decoding` it heeds forbidden single tokens alone;
// tprune_runtime/replay.py has them all.
import Foundation
import OnnxRuntimeBindings

final class Bundle {
    typealias Json = [String: Any]
    private let env: ORTEnv, encoder: ORTSession, decoder: ORTSession, manifest: Json, spec: Json

    init(folder: URL, threads: Int32 = 2) throws {
        env = try ORTEnv(loggingLevel: .warning)
        let options = try ORTSessionOptions()
        try options.setIntraOpNumThreads(threads)
        func path(_ name: String) -> String { folder.appendingPathComponent(name).path }
        encoder = try ORTSession(env: env, modelPath: path("encoder.onnx"), sessionOptions: options)
        decoder = try ORTSession(env: env, modelPath: path("decoder.onnx"), sessionOptions: options)
        let data = try Data(contentsOf: folder.appendingPathComponent("manifest.json"))
        manifest = try JSONSerialization.jsonObject(with: data) as! Json
        spec = (manifest["graphs"] as! [Json]).first { $0["name"] as! String == "decoder" }!
    }

    private func ids(_ values: [Int64], _ shape: [NSNumber]) throws -> ORTValue {
        let data = values.withUnsafeBytes { NSMutableData(bytes: $0.baseAddress!, length: $0.count) }
        return try ORTValue(tensorData: data, elementType: .int64, shape: shape)
    }

    // dims: batch, heads, past, size; before the first step past is 0
    private func empty(_ name: String) throws -> ORTValue {
        let dims = (spec["inputs"] as! [Json]).first { $0["name"] as! String == name }!["dims"] as! [Any]
        let shape: [NSNumber] = [1, dims[1] as! NSNumber, 0, dims[3] as! NSNumber]
        return try ORTValue(tensorData: NSMutableData(), elementType: .float, shape: shape)
    }

    func translate(_ source: [Int64]) throws -> [Int64] {
        let known = manifest["decoding"] as! Json
        let ends = known["eos_token_id"] as! [Int64], most = known["max_length"] as! Int
        let never = Set((known["bad_words_ids"] as! [[Int]]).filter { $0.count == 1 }.map { $0[0] })
        let states = spec["states"] as! [[String]]  // pairs: past_key_0, present_key_0
        let length = NSNumber(value: source.count)
        let mask = try ids([Int64](repeating: 1, count: source.count), [1, length])
        let names = Set(try encoder.outputNames())
        let given = ["input_ids": try ids(source, [1, length]), "attention_mask": mask]
        var feeds = try encoder.run(withInputs: given, outputNames: names, runOptions: nil)
        feeds["attention_mask"] = mask
        for pair in states { feeds[pair[0]] = try empty(pair[0]) }
        var token = known["decoder_start_token_id"] as! Int64, said: [Int64] = []
        while said.count < most - 1 && (said.isEmpty || !ends.contains(token)) {
            feeds["input_ids"] = try ids([token], [1, 1])
            feeds["position"] = try ids([Int64(said.count)], [1])
            let wanted = Set(["logits"] + states.map { $0[1] })
            let done = try decoder.run(withInputs: feeds, outputNames: wanted, runOptions: nil)
            let data = try done["logits"]!.tensorData() as Data
            let logits = data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
            token = Int64(logits.indices.filter { !never.contains($0) }.max { logits[$0] < logits[$1] }!)
            for pair in states { feeds[pair[0]] = done[pair[1]] }
            said.append(token)
        }
        let rows = manifest["rows"] as! [Int64]  // empty, or the token of each of the decoder's numbers
        return rows.isEmpty ? said : said.map { rows[Int($0)] }
    }
}
